"""HMTAS: the model, and everything needed to train and score one."""

__version__ = "0.1.0"
