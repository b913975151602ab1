// Operations with Apache MINA SSHD, one a line of the input: PORT USER KEY. tests/clients/scripted.rs says how they are answered.

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.SeekableByteChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributeView;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.apache.sshd.client.SshClient;
import org.apache.sshd.client.keyverifier.AcceptAllServerKeyVerifier;
import org.apache.sshd.client.session.ClientSession;
import org.apache.sshd.common.keyprovider.FileKeyPairProvider;
import org.apache.sshd.sftp.client.SftpClient;
import org.apache.sshd.sftp.client.SftpClientFactory;
import org.apache.sshd.sftp.client.extensions.openssh.OpenSSHPosixRenameExtension;
import org.apache.sshd.sftp.client.fs.SftpFileSystem;
import org.apache.sshd.sftp.common.SftpException;

public class MinaClient {
    /** The home as a file system of Java's own, as most programs use it. */
    private final SftpFileSystem home;

    private MinaClient(SftpFileSystem home) {
        this.home = home;
    }

    public static void main(String[] args) throws Exception {
        SshClient client = SshClient.setUpDefaultClient();
        client.setServerKeyVerifier(AcceptAllServerKeyVerifier.INSTANCE);
        client.start();
        Duration limit = Duration.ofMinutes(10);
        try (ClientSession session = client.connect(args[1], "127.0.0.1", Integer.parseInt(args[0])).verify(limit).getSession()) {
            session.setKeyIdentityProvider(new FileKeyPairProvider(Path.of(args[2])));
            session.auth().verify(limit);
            try (SftpFileSystem home = SftpClientFactory.instance().createSftpFileSystem(session)) {
                new MinaClient(home).converse();
            }
        }
        client.stop();
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
            } catch (SftpException error) {
                out.println("error\t" + error.getStatus() + "\t" + error.getMessage());
            } catch (Exception error) {
                out.println("error\t" + error.getClass().getSimpleName() + "\t" + error.getMessage());
            }
        }
    }

    private String run(String operation, String first, String second) throws Exception {
        switch (operation) {
            case "put" -> copy(Path.of(first), there(second));
            case "get" -> copy(there(first), Path.of(second));
            case "put_tree" -> copyTree(Path.of(first), there(second));
            case "get_tree" -> copyTree(there(first), Path.of(second));
            case "reput" -> resume(Path.of(first), there(second));
            case "reget" -> resume(there(first), Path.of(second));
            case "list" -> {
                try (Stream<Path> entries = Files.list(there(first))) {
                    return String.join("\n", entries.map(entry -> entry.getFileName().toString()).toList());
                }
            }
            case "rename" -> Files.move(there(first), there(second));
            case "remove", "rmdir" -> Files.delete(there(first));
            case "mkdir" -> Files.createDirectory(there(first));
            case "random" -> random(there(first));
            case "streams" -> streams(first);
            default -> throw new IllegalArgumentException(operation);
        }
        return "";
    }

    private Path there(String path) {
        return home.getPath(path);
    }

    /** With its time. SFTP has no field for one of a file's times alone: then MINA sends none. */
    private static void copy(Path from, Path to) throws IOException {
        Files.copy(from, to, StandardCopyOption.REPLACE_EXISTING);
        FileTime time = Files.getLastModifiedTime(from);
        Files.getFileAttributeView(to, BasicFileAttributeView.class).setTimes(time, time, null);
    }

    private static void copyTree(Path from, Path to) throws IOException {
        Files.createDirectory(to);
        List<Path> entries = new ArrayList<>();
        try (Stream<Path> all = Files.list(from)) {
            all.forEach(entries::add);
        }
        for (Path entry : entries) {
            Path copy = to.resolve(entry.getFileName().toString());
            if (Files.isDirectory(entry)) copyTree(entry, copy);
            else copy(entry, copy);
        }
    }

    private static void resume(Path from, Path to) throws IOException {
        try (SeekableByteChannel source = Files.newByteChannel(from);
                SeekableByteChannel target = Files.newByteChannel(to, StandardOpenOption.WRITE, StandardOpenOption.APPEND)) {
            source.position(Files.size(to));
            ByteBuffer piece = ByteBuffer.allocate(32768);
            while (source.read(piece) >= 0) {
                piece.flip();
                while (piece.hasRemaining()) target.write(piece);
                piece.clear();
            }
        }
    }

    /** Reads, writes and cuts a file that is open once. */
    private static void random(Path path) throws IOException {
        try (FileChannel file = FileChannel.open(
                path, StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW)) {
            file.write(ByteBuffer.wrap("0123456789".getBytes()), 0);
            file.write(ByteBuffer.wrap("XX".getBytes()), 3);
            ByteBuffer back = ByteBuffer.allocate(10);
            file.read(back, 0);
            expect("012XX56789", new String(back.array()));
            file.truncate(6);
            expect("6", String.valueOf(file.size()));
        }
        expect("012XX5", Files.readString(path));
    }

    /** The streams of the SFTP client itself, which send and ask ahead, and the rename that replaces. */
    private void streams(String path) throws IOException {
        byte[] content = new byte[3_000_001];
        for (int i = 0; i < content.length; i++) content[i] = (byte) (i * 31 + (i >> 8));
        try (SftpClient sftp = home.getClient()) {
            try (var out = sftp.write(path, 200_000)) {
                out.write(content);
            }
            try (var in = sftp.read(path, 200_000)) {
                if (!Arrays.equals(content, in.readAllBytes())) throw new IOException("not the same");
            }
            expect("/", sftp.canonicalPath("."));
            expect("3000001", String.valueOf(sftp.stat(path).getSize()));
            sftp.put(Path.of("/dev/null"), path + ".replaced");
            sftp.getExtension(OpenSSHPosixRenameExtension.class).posixRename(path, path + ".replaced");
        }
    }

    private static void expect(String expected, String found) throws IOException {
        if (!expected.equals(found)) throw new IOException(found + ", not " + expected);
    }
}
