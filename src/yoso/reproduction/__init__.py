"""The paper's tables and figures: what each shows, what it needs, how it is measured here, and what came out.

`registry` lists all of them. `runner` measures what can be measured on this machine and writes one result file per
table or figure; `page` makes docs/paper.md of these files. The paper's own figures are in paper.yaml.
"""
