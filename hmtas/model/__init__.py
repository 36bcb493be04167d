"""The model in plain torch: network, loss, checkpoints, and the rule of its windows."""
