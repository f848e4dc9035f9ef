"""The plots of the documentation, drawn from what the models really do."""
