"""Send customers, and later whether they left, as any Python producer would: confluent-kafka and JSON.

python churn_producer.py 127.0.0.1:9092
"""

import json
import random
import sys
import time

from confluent_kafka import KafkaError, Message, Producer

EVENTS, LABELS = "crm.events", "crm.outcomes"
COUNT, CHURN = 100, 0.2


class Sender:
    """An idempotent producer that drops nothing silently: what could not be delivered ends the program."""

    def __init__(self, bootstrap: str) -> None:
        self.failed: list[str] = []
        self.producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,  # each record once and in order, however often it is retried
                "acks": "all",
                # As Java and Go do; librdkafka's own default puts most keys on other partitions.
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 5,
            }
        )

    def send(self, topic: str, record: dict[str, object]) -> None:
        while True:
            try:
                self.producer.produce(
                    topic,
                    key=str(record["event_id"]),  # one id, one partition: its records stay in order
                    value=json.dumps(record),
                    on_delivery=self._delivered,
                )
            except BufferError:  # the broker is slower than we are: wait for room
                self.producer.poll(0.5)
            else:
                self.producer.poll(0)  # serves the callbacks
                return

    def flush(self, seconds: float = 30.0) -> None:
        left = self.producer.flush(seconds)
        if left or self.failed:
            sys.exit(f"{left} records undelivered, {len(self.failed)} failed: {self.failed[:3]}")

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failed.append(f"{message.topic()}: {error.str()}")


def now() -> int:
    """Milliseconds since 1970; ISO-8601 text such as 2026-03-02T09:00:00Z is read as well."""
    return time.time_ns() // 1_000_000


def main(bootstrap: str, events: str = EVENTS, labels: str = LABELS) -> None:
    sender = Sender(bootstrap)
    ids = [f"py-{now()}-{number}" for number in range(COUNT)]
    chance = random.Random()  # noqa: S311 - customers that are made up
    for name in ids:
        # Absent and null are missing; a field that the pipeline file does not name is ignored.
        event = {
            "event_id": name,
            "at": now(),  # when it happened, not when it was sent
            "age": chance.choice([None, chance.randint(18, 90)]),
            "visits": chance.randint(0, 40),
            "plan": chance.choice(["free", "plus", "pro"]),
        }
        sender.send(events, event)
    sender.flush()

    # In life this is another program, weeks later. The id is what a label and its event meet by.
    for name in ids:
        sender.send(labels, {"event_id": name, "at": now(), "churned": chance.random() < CHURN})
    sender.flush()
    print(f"{COUNT} events and {COUNT} labels sent")


if __name__ == "__main__":
    if len(sys.argv) not in {2, 4}:
        sys.exit("usage: churn_producer.py HOST:PORT [EVENTS LABELS]")
    main(*sys.argv[1:])
