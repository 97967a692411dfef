from __future__ import annotations

from shared.jobs.cost import HIGHEST
from shared.settings import Settings
from shared.tickets import LONGEST, create_celery_app


def test_a_ticket_may_take_as_long_as_the_dearest_image():
    settings = Settings.from_environ({"FATHOM_IMAGE_SECONDS": "90"})

    limit = create_celery_app(settings).conf.task_soft_time_limit

    assert limit > LONGEST + 90 * HIGHEST
