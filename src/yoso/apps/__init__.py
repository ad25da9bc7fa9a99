"""The command line: `yoso predict`, `eval`, `pq`, `data check`, `convert`, `models` and `train`."""
