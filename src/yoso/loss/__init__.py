"""The loss: matching, comparison of masks, and the criterion. Knows no trainer."""
