"""What a finished search says: summary, leaderboard, conclusions, model card."""
