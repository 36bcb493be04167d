"""Fusion of stored probabilities: many models in, one row of probabilities out (thesis 5.6).

Public names, imported from their modules:

    ensemble.stack      `stack`, `Stack`, `ModelOutput`: models aligned into one (M, T, A) array
    ensemble.combiner   `Combiner`, `Fitted`, `Evidence`: what every combiner is, and is fitted on
    ensemble.methods    `combiner_of`, `METHODS`: all of them by name
    ensemble.combine    `weights_of_scores`, `combine`: means of probabilities or of logits
    ensemble.library    `build_library`: hundreds of models as 16-bit codes
    ensemble.greedy     `select`, `GreedyConfig`: greedy selection with replacement
    ensemble.fusion     `LearnedFusion`, `FusionConfig`, `fit_fusion`, `fuse`: a small transformer
    ensemble.crossfit   `cross_fit`: by fold and in all
    ensemble.members    `Member`, `read_members`: run folders that take part
    ensemble.plan       `plan_fit`: read and check everything before a fit
    ensemble.build      `fit_ensembles`, `apply_ensemble`: from run folders to run folders
    ensemble.package    `write_package`: an ensemble as one folder that needs nothing else
    ensemble.packaged   `Packaged`: streams of one half in, spots out
    ensemble.registry   `promote`: champion or challenger in MLflow's model registry

No score of a test game may shape an ensemble, and no game is combined with weights that it helped
to choose: what is fitted is fitted on the other folds.
"""
