"""The search for L, gamma, class weights and NMS windows.

Public names, imported from their modules:

    tune.space          Space, suggest, first_point, settings_of
    tune.default_space  build_space
    tune.objective      run_trial
    tune.study          run_study, sweep_base
    tune.record         StudySettings, StudyRecord, read_study, best_config
    tune.run_windows    tune_run

Import Ray Tune by name (`from ray.tune import Tuner`): this package is called `tune` too.
"""
