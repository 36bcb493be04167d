"""Fusion of stored probabilities: many models in, one row of probabilities out (thesis 5.6).

    ensemble.stack       models aligned into one (M, T, A) array, and their weighted means
    ensemble.greedy      greedy selection with replacement, from hundreds of models
    ensemble.combiner    what every combiner is, and is fitted on
    ensemble.learned     the learned fusion: a small transformer
    ensemble.combiners   all combiners by name, cross-fitted
    ensemble.build       from run folders to run folders
    ensemble.selection   the best combination, or the best single model
    ensemble.registry    champion or challenger in MLflow's model registry

No score of a test game may shape an ensemble, and no game is combined with weights that it helped
to choose: what is fitted is fitted on the other folds.
"""
