"""The search itself: Optuna proposes, Ray Tune runs the trials, the record is kept."""
