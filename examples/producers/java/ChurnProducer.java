import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Sends customers, and later whether they left, as any Java producer would: kafka-clients and JSON. */
public final class ChurnProducer implements AutoCloseable {
    private final Producer<String, String> producer;
    private final AtomicReference<Exception> failure = new AtomicReference<>();

    private ChurnProducer(String bootstrap) {
        Properties config = new Properties();
        config.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        config.put(ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, "true"); // each record once and in order
        config.put(ProducerConfig.ACKS_CONFIG, "all");
        config.put(ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4");
        config.put(ProducerConfig.LINGER_MS_CONFIG, "5");
        // A keyed record goes where murmur2 of its key says: Java's own default.
        producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    /** Sends a record whose key is its id: one id, one partition, so that its records stay in order. */
    private void send(String topic, String id, String json) {
        producer.send(new ProducerRecord<>(topic, id, json), (metadata, error) -> {
            if (error != null) {
                failure.compareAndSet(null, error); // after delivery.timeout.ms: it was retried until then
            }
        });
    }

    private void flush() {
        producer.flush();
        if (failure.get() != null) {
            throw new IllegalStateException("not all records were delivered", failure.get());
        }
    }

    @Override
    public void close() {
        producer.close();
    }

    public static void main(String[] args) {
        if (args.length != 1 && args.length != 3) {
            System.err.println("usage: ChurnProducer HOST:PORT [EVENTS LABELS]");
            System.exit(2);
        }
        String events = args.length == 3 ? args[1] : "crm.events";
        String labels = args.length == 3 ? args[2] : "crm.outcomes";
        String[] plans = {"free", "plus", "pro"};
        Random random = new Random();
        List<String> ids = new ArrayList<>();
        try (ChurnProducer sender = new ChurnProducer(args[0])) {
            for (int number = 0; number < 100; number++) {
                String id = "java-" + System.currentTimeMillis() + "-" + number;
                // ISO-8601 or milliseconds since 1970: when it happened, not when it was sent.
                sender.send(events, id, String.format(
                    "{\"event_id\": \"%s\", \"at\": \"%s\", \"age\": %s, \"visits\": %d, \"plan\": \"%s\"}",
                    id, Instant.now(), random.nextBoolean() ? null : 18 + random.nextInt(72),
                    random.nextInt(40), plans[random.nextInt(plans.length)]));
                ids.add(id);
            }
            sender.flush();

            // In life this is another program, weeks later. The id is what a label and its event meet by.
            for (String id : ids) {
                sender.send(labels, id, String.format(
                    "{\"event_id\": \"%s\", \"at\": \"%s\", \"churned\": %b}",
                    id, Instant.now(), random.nextInt(5) == 0));
            }
            sender.flush();
        }
        System.out.printf("%d events and %d labels sent%n", ids.size(), ids.size());
    }
}
