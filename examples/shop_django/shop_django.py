"""A Django backend that tells buyers at once what becomes of their orders: `python shop_django.py runserver`."""

from __future__ import annotations

import os
import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST

from wsclient import OperationsError, Publisher

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY", "for this example alone"),
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
)
publisher = Publisher(timeout_s=3)  # one for all threads; WSCTL_OPS_URL and WSCTL_OPS_KEY say where, and with which key


@require_POST  # type: ignore[untyped-decorator]
def pay(request: HttpRequest, order: int) -> JsonResponse:
    """Take note that an order is paid, and tell its buyer."""
    buyer = request.POST.get("buyer", "")
    try:
        publisher.publish("order.paid", {"order": order}, user=buyer, idempotency_key=f"order-{order}-paid")
    except OperationsError as error:  # the order is paid all the same; whoever looks at the page later sees it
        return JsonResponse({"paid": order, "told": False, "why": str(error)})
    return JsonResponse({"paid": order, "told": True})


urlpatterns = [path("orders/<int:order>/pay", pay)]
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
