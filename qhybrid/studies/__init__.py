"""Many trainings and samplings that are planned, run, compared and reported together."""
