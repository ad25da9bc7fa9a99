"""One latency protocol for everything that is timed.

The clock covers the way from a decoded image, a uint8 RGB array (H, W, 3) of the chosen size, to the id map in host
memory and the list of segments. It covers neither reading the file nor drawing the result. Every entry gets the same
array, prepares it in its own way (normalizing, padding) and merges in its own way.

Entries take turns, A B C A B C, after a warm-up of each, so that a slow phase of the machine hits all of them. The
protocol waits for the device before the clock starts and after the result is there, never in between. Stage times come
from separate runs that wait for the device at every boundary: read them as shares, because their sum may exceed the
end-to-end time. Peak memory is measured in one process per entry, energy in separate runs where the GPU counts it. What
cannot be measured is absent, never zero.

With random weights either no query or every query would pass the score threshold. So the last layer of the class branch
is set so that a fixed number of queries (12 by default, the same for all entries) is kept on the timed image, see
`kept_queries`, and the overlap threshold drops none of them. No layer is added or removed, and the network exports like
any other. Random weights say nothing about accuracy.
"""
