"""The operations port: HTTP before what `wsserver.operations` does; the only place that knows starlette and uvicorn."""
