"""Running a trained network on photographs: where they come from, the predictor, pictures of the results."""
