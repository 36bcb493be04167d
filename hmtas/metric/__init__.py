"""Average-mAP, the SoccerNet spotting metric, by the evaluator's rules (thesis Section 5.2)."""
