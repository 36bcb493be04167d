"""Fusion of stored probabilities: many models in, one row of probabilities out (thesis 5.6).

Public names, imported from their modules:

    ensemble.stack      `stack`, `Stack`, `ModelOutput`: models aligned into one (M, T, A) array
    ensemble.combine    `combine_weights`, `combine`: mean, weighted and squared weighted mean
    ensemble.fusion     `LearnedFusion`, `FusionConfig`, `fit_fusion`, `fuse`: a small transformer
    ensemble.crossfit   `cross_fit_weights`, `cross_fit_fusion`, `plain_mean`: by fold and in all
    ensemble.members    `Member`, `read_members`: run folders that take part
    ensemble.plan       `plan_fit`: read and check everything before a fit
    ensemble.build      `fit_ensembles`, `apply_ensemble`: from run folders to run folders

No score of a test game may shape an ensemble, and no game is combined with weights that it helped
to choose: what is fitted is fitted on the other folds.
"""
