"""The API with one more route, which only echoes: what gunicorn and Flask cost by themselves.

gunicorn --config api/gunicorn_conf.py "bench.echo:create_app()"
"""

from flask import Flask, Response, request

from api.app import create_app as create_api


def create_app() -> Flask:
    """The API as it is, and ``POST /echo``, which answers with the body that it was sent."""
    app: Flask = create_api()
    app.add_url_rule("/echo", "echo", _echo, methods=["POST"])
    return app


def _echo() -> Response:
    return Response(request.get_data(), mimetype="application/json")
