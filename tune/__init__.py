"""The search for L, gamma, class weights and NMS windows.

    tune.space      what is searched, as data
    tune.study      what a study is and how far it got
    tune.windows    NMS windows of stored probabilities, without training
    tune.report     what a study found, as a page
    tune.search     Optuna, Ray Tune, and the record between them
    tune.sweep      a study from its start, or from where it was left

Import Ray Tune by name (`from ray.tune import Tuner`): this package is called `tune` too.
"""
