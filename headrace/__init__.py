"""headrace: a streaming lakehouse that feeds recommender training."""
