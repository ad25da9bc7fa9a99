"""Running a model over a data set and scoring it: one loop for evaluation, training, export and tuning."""
