"""The report: one HTML page about many results, made of sections that each show one thing."""
