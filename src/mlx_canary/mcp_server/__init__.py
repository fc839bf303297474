"""The Model Context Protocol: lets assistants write down recordings in folders that the user names."""
