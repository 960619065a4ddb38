"""Pictures of results, trials and schedules."""
