"""Running a trained network on images: the predictor, its engines, and the table of runtimes."""
