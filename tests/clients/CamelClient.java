// Operations with Apache Camel's component sftp, one a line of the input: PORT USER KEY KNOWN_HOSTS. tests/clients/scripted.rs says how
// they are answered.

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.apache.camel.CamelContext;
import org.apache.camel.ConsumerTemplate;
import org.apache.camel.Exchange;
import org.apache.camel.ProducerTemplate;
import org.apache.camel.impl.DefaultCamelContext;

public class CamelClient {
    private static final long HANG = 600_000;

    private final String[] args;
    private final ProducerTemplate producer;
    private final ConsumerTemplate consumer;

    private CamelClient(CamelContext context, String[] args) {
        this.args = args;
        producer = context.createProducerTemplate();
        consumer = context.createConsumerTemplate();
    }

    public static void main(String[] args) throws Exception {
        try (CamelContext context = new DefaultCamelContext()) {
            context.start();
            new CamelClient(context, args).converse();
        }
    }

    /** A folder of the home, with options. */
    private String endpoint(String folder, String options) {
        return "sftp://" + args[1] + "@127.0.0.1:" + args[0] + "/" + folder + "?privateKeyFile=" + args[2] + "&knownHostsFile="
                + args[3] + "&strictHostKeyChecking=yes&useUserKnownHostsFile=false&preferredAuthentications=publickey"
                + "&connectTimeout=" + HANG + "&soTimeout=" + HANG + "&timeout=" + HANG
                + "&throwExceptionOnConnectFailed=true&maximumReconnectAttempts=0&disconnect=true&" + options;
    }

    /** Splits a path as Camel wants it. */
    private static String folder(String path) {
        return path.substring(1, Math.max(1, path.lastIndexOf('/')));
    }

    private static String name(String path) {
        return path.substring(path.lastIndexOf('/') + 1);
    }

    /** Does each operation that is asked for. */
    private void converse() throws IOException {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split("\t", -1);
            try {
                String given = run(words[0], words[1], words.length > 2 ? words[2] : "");
                given.lines().forEach(text -> out.println(" " + text));
                out.println("ok");
            } catch (Exception error) {
                Throwable cause = error.getCause() == null ? error : error.getCause();
                out.println("error\t" + cause.getClass().getSimpleName() + "\t" + String.valueOf(cause.getMessage()).replace('\n', ' '));
            }
        }
    }

    private String run(String operation, String one, String two) throws Exception {
        switch (operation) {
            // Written beside, under another name in the same folder, which is made if it is not there.
            case "put" -> put(one, two, "tempFileName=${file:name}.writing");
            // Written in a folder of its own first; modes are set on the way.
            case "put_from_a_folder" -> put(one, two, "tempPrefix=in-work/&chmod=640&chmodDirectory=750");
            case "append" -> put(one, two, "fileExist=Append");
            case "fail_if_there" -> put(one, two, "fileExist=Fail");
            case "get" -> get(one, Path.of(two));
            case "take_and_move" -> {
                return String.join("\n", take(one, Path.of(two), "move=.done/${file:name}"));
            }
            case "take_and_delete" -> {
                return String.join("\n", take(one, Path.of(two), "delete=true&recursive=true"));
            }
            // It renames each file first, so that no other takes it.
            case "take_with_a_lock" -> {
                return String.join("\n", take(one, Path.of(two), "readLock=rename&delete=true"));
            }
            default -> throw new IllegalArgumentException(operation);
        }
        return "";
    }

    private void put(String local, String remote, String options) {
        producer.sendBodyAndHeader(endpoint(folder(remote), options), new File(local), Exchange.FILE_NAME, name(remote));
    }

    private void get(String remote, Path local) throws IOException {
        Exchange exchange = consumer.receive(
                endpoint(folder(remote), "noop=true&idempotent=false&streamDownload=true&fileName=" + name(remote)), HANG);
        try (InputStream body = exchange.getMessage().getBody(InputStream.class)) {
            Files.copy(body, local, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            consumer.doneUoW(exchange);
        }
    }

    /** Takes all files of a folder into a local one, as a route does; their names. */
    private List<String> take(String remote, Path local, String options) throws IOException {
        String endpoint = endpoint(remote.substring(1), "sendEmptyMessageWhenIdle=true&delay=100&initialDelay=0&" + options);
        List<String> taken = new ArrayList<>();
        for (;;) {
            Exchange exchange = consumer.receive(endpoint, HANG);
            String name = exchange.getMessage().getHeader(Exchange.FILE_NAME, String.class);
            if (name != null) {
                taken.add(name);
                Path target = local.resolve(name);
                Files.createDirectories(target.getParent());
                Files.write(target, exchange.getMessage().getBody(byte[].class));
            }
            consumer.doneUoW(exchange);
            if (name == null) {
                Collections.sort(taken);
                return taken;
            }
        }
    }
}
