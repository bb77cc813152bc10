import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;

/**
 * Kafka Streams' own loop, exactly once: reads each event as JSON and writes records of the sizes that Sluicegate writes.
 *
 * Arguments: bootstrap, application id, state directory, input topic, events, events before the clock starts, and for
 * each output its topic, bytes of its value, number of headers. Prints one line of JSON.
 */
public final class Loop {
    private static final OperatingSystemMXBean MACHINE =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    private record Output(String topic, byte[] value, Headers headers) {}

    private static final class Answering implements Processor<byte[], byte[], byte[], byte[]> {
        private static final ObjectMapper JSON = new ObjectMapper();
        private static int count;
        private static long startedNs;
        private static long startedCpuNs;

        private final Output[] outputs;
        private final int warm;
        private final int last;
        private final CountDownLatch done;
        private ProcessorContext<byte[], byte[]> context;

        Answering(Output[] outputs, int warm, int last, CountDownLatch done) {
            this.outputs = outputs;
            this.warm = warm;
            this.last = last;
            this.done = done;
        }

        @Override
        public void init(ProcessorContext<byte[], byte[]> given) {
            context = given;
        }

        @Override
        public void process(Record<byte[], byte[]> event) {
            try {
                JSON.readTree(event.value());
            } catch (java.io.IOException error) {
                throw new IllegalStateException(error);
            }
            for (Output output : outputs) {
                Headers headers = new RecordHeaders(output.headers());
                context.forward(event.withValue(output.value()).withHeaders(headers), output.topic());
            }
            count++;
            if (count == warm) {
                startedNs = System.nanoTime();
                startedCpuNs = MACHINE.getProcessCpuTime();
            } else if (count == last) {
                double events = last - warm;
                System.out.printf(
                        "{\"wall_us\": %.3f, \"cpu_us\": %.3f}%n",
                        (System.nanoTime() - startedNs) / events / 1e3,
                        (MACHINE.getProcessCpuTime() - startedCpuNs) / events / 1e3);
                System.out.flush();
                done.countDown();
            }
        }
    }

    public static void main(String[] given) throws InterruptedException {
        Output[] outputs = new Output[(given.length - 6) / 3];
        for (int at = 0; at < outputs.length; at++) {
            Headers headers = new RecordHeaders();
            for (int header = 0; header < Integer.parseInt(given[8 + 3 * at]); header++) {
                headers.add("header-" + header, "twenty bytes of value".getBytes());
            }
            outputs[at] = new Output(given[6 + 3 * at], new byte[Integer.parseInt(given[7 + 3 * at])], headers);
        }
        int last = Integer.parseInt(given[4]);
        int warm = Integer.parseInt(given[5]);
        CountDownLatch done = new CountDownLatch(1);
        Topology topology = new Topology();
        topology.addSource("events", given[3]);
        topology.addProcessor("answering", () -> new Answering(outputs, warm, last, done), "events");
        for (Output output : outputs) {
            topology.addSink(output.topic(), output.topic(), "answering");
        }
        Properties properties = new Properties();
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, given[0]);
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, given[1]);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, given[2]);
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        properties.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        KafkaStreams streams = new KafkaStreams(topology, properties);
        streams.start();
        boolean isDone = done.await(150, TimeUnit.SECONDS);
        System.exit(isDone ? 0 : 1);
    }
}
