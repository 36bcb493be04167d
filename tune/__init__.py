"""The search for L, gamma, class weights and NMS windows."""
