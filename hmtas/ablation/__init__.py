"""What each step of the thesis's ladder, and each single setting, is worth on a store."""
