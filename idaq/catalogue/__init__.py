"""What ships in datasets/: entries and their recipes, cards, the page, and the study that makes them again."""
