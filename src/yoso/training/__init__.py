"""Training on Lightning: thin. What is trained is in `model`, what is minimised in `loss`."""
