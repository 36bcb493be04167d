"""What a report says, section by section; words first, then pictures, then tables."""

from tune.report import model_sections as models
from tune.report import record_sections as record
from tune.report import search_sections as search
from tune.report.facts import Facts, Section


def sections(facts: Facts) -> list[Section]:
    """All of a page, in its order."""
    made = [
        models.best(facts),
        search.history(facts),
        search.front(facts) if facts.record.settings.options.objective == "both" else None,
        search.importance(facts),
        search.parallel(facts),
        search.slices(facts),
        search.curves(facts),
        models.actions(facts),
        models.windows(facts),
        record.trials(facts),
        record.failures(facts),
        record.time(facts),
        record.space(facts),
        record.settings(facts),
        record.repeat(facts),
    ]
    return [section for section in made if section is not None]
