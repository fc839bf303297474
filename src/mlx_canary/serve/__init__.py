"""A server: recordings and live sound over HTTP in, texts out, in the shapes of OpenAI's API.

Uses what Python users have too. Needs the packages of the extra `serve`, which nothing else imports.
"""
