"""One latency protocol for everything that is timed.

In goes a decoded photograph, a uint8 RGB array (H, W, 3) of the named size; out come the id map in host memory and the
list of segments. Reading the file and drawing the result are not timed. Every contestant gets the same array, prepares
it its own way (normalising, padding) and merges its own way.

Contestants take turns, A B C A B C, after a warm-up of each, so that a machine that slows down slows all alike. The
device is waited for before the clock starts and when the result is there, never in between.
Stage times come from further runs of the same session that wait for the device at every boundary; they are shares to
read, and their sum may exceed the end-to-end time. Peak memory is measured in a process of its own per contestant, and
energy in runs of its own where the GPU counts it. What could not be measured is absent, never zero.

Random weights have no opinion: nothing would pass the thresholds, or everything. So the last layer of the class branch
is set such that a fixed number of queries (12 by default, the same for all) is kept on the photograph that is timed,
see `survivors`, and none of them is dropped for its overlap. The network stays a network: no layer is left out or
added, and the form is exported like any other. Random weights say nothing about accuracy.
"""
