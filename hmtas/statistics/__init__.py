"""How sure a score is: intervals over games, verdicts on differences, the corrected winner."""
