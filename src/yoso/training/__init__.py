"""Training with Lightning. The network is in `model`, the loss in `loss`."""
