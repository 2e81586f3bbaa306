"""Check with gRPC's health service whether Dagster's code server replies, without importing Dagster."""

from __future__ import annotations

TIMEOUT_S = 4.0


def code_server_issue(host: str, port: int) -> str | None:
    """Return why the code server does not serve, in one line; None if it does."""
    import grpc  # noqa: PLC0415  # 0.1 s, which only this check needs
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    where = f"{host}:{port}"
    with grpc.insecure_channel(where) as channel:
        request = health_pb2.HealthCheckRequest(service="DagsterApi")
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT_S)
        except grpc.RpcError as err:
            code = err.code().name.lower().replace("_", " ") if hasattr(err, "code") else "no reply"
            return f"it does not reply at {where} ({code})"
    if reply.status != health_pb2.HealthCheckResponse.SERVING:
        return f"it replies at {where} that it does not serve"
    return None
