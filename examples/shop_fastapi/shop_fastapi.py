"""A FastAPI backend that tells buyers at once what becomes of their orders: `uvicorn shop_fastapi:api`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel

from wsclient import AsyncPublisher, OperationsError


@asynccontextmanager
async def lifespan(api: FastAPI) -> AsyncIterator[None]:
    """Keep one publisher as long as the backend runs."""
    async with AsyncPublisher(timeout_s=3) as api.state.publisher:  # WSCTL_OPS_URL and WSCTL_OPS_KEY
        yield


def publisher_of(request: Request) -> AsyncPublisher:
    """Return it to whoever depends on it."""
    publisher: AsyncPublisher = request.app.state.publisher
    return publisher


api = FastAPI(lifespan=lifespan)


class Payment(BaseModel):
    """Who has paid."""

    buyer: str


@api.post("/orders/{order}/pay")
async def pay(
    order: int, payment: Payment, publisher: Annotated[AsyncPublisher, Depends(publisher_of)]
) -> dict[str, object]:
    """Take note that an order is paid, and tell its buyer."""
    data = {"order": order}
    try:
        await publisher.publish("order.paid", data, user=payment.buyer, idempotency_key=f"order-{order}-paid")
    except OperationsError as error:  # the order is paid all the same; whoever looks at the page later sees it
        return {"paid": order, "told": False, "why": str(error)}
    return {"paid": order, "told": True}
