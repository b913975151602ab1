// Operations with JSch, one a line of the input: PORT USER KEY KNOWN_HOSTS. tests/clients/scripted.rs says how they are answered.

import com.jcraft.jsch.ChannelSftp;
import com.jcraft.jsch.JSch;
import com.jcraft.jsch.Session;
import com.jcraft.jsch.SftpATTRS;
import com.jcraft.jsch.SftpException;
import com.jcraft.jsch.SftpStatVFS;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;

public class JschClient {
    private final ChannelSftp sftp;

    private JschClient(ChannelSftp sftp) {
        this.sftp = sftp;
    }

    public static void main(String[] args) throws Exception {
        JSch jsch = new JSch();
        jsch.addIdentity(args[2]);
        jsch.setKnownHosts(args[3]);
        Session session = jsch.getSession(args[1], "127.0.0.1", Integer.parseInt(args[0]));
        session.connect(600_000);
        ChannelSftp channel = (ChannelSftp) session.openChannel("sftp");
        channel.connect(600_000);
        try {
            new JschClient(channel).converse();
        } finally {
            session.disconnect();
        }
    }

    /** Does each operation that is asked for. */
    private void converse() throws IOException {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split("\t", -1);
            try {
                String given = run(words[0], words[1], words.length > 2 ? words[2] : null);
                given.lines().forEach(text -> out.println(" " + text));
                out.println("ok");
            } catch (SftpException error) {
                out.println("error\t" + error.id + "\t" + error.getMessage());
            } catch (Exception error) {
                out.println("error\t" + error.getClass().getSimpleName() + "\t" + error.getMessage());
            }
        }
    }

    private String run(String operation, String first, String second) throws Exception {
        switch (operation) {
            case "put" -> sftp.put(first, plain(second), ChannelSftp.OVERWRITE);
            case "get" -> sftp.get(plain(first), second);
            case "reput" -> sftp.put(first, plain(second), ChannelSftp.RESUME);
            case "reget" -> sftp.get(plain(first), second, null, ChannelSftp.RESUME);
            case "append" -> sftp.put(first, plain(second), ChannelSftp.APPEND);
            case "put_timed" -> {
                sftp.put(first, plain(second));
                sftp.setMtime(plain(second), (int) (new File(first).lastModified() / 1000));
            }
            case "get_timed" -> {
                sftp.get(plain(first), second);
                Files.setLastModifiedTime(Path.of(second), FileTime.from(sftp.stat(plain(first)).getMTime(), TimeUnit.SECONDS));
            }
            case "put_tree" -> putTree(new File(first), second);
            case "get_tree" -> getTree(first, new File(second));
            case "list" -> {
                StringBuilder names = new StringBuilder();
                for (ChannelSftp.LsEntry entry : sftp.ls(plain(first))) names.append(entry.getFilename()).append('\n');
                return names.toString();
            }
            case "rename" -> sftp.rename(plain(first), plain(second));
            case "remove" -> sftp.rm(plain(first));
            case "mkdir" -> sftp.mkdir(plain(first));
            case "rmdir" -> sftp.rmdir(plain(first));
            case "mget" -> sftp.get(first, second);
            case "attributes" -> {
                sftp.chmod(0600, plain(first));
                sftp.cd("/");
                SftpStatVFS space = sftp.statVFS("/");
                SftpATTRS found = sftp.lstat(plain(first));
                return String.join(" ", found.getPermissionsString(), sftp.pwd(), String.valueOf(space.getSize() > 0));
            }
            case "stream" -> {
                try (OutputStream out = sftp.put(plain(second), ChannelSftp.OVERWRITE)) {
                    Files.copy(Path.of(first), out);
                }
                try (InputStream in = sftp.get(plain(second), null, 1000L)) {
                    byte[] rest = in.readAllBytes();
                    byte[] whole = Files.readAllBytes(Path.of(first));
                    if (!Arrays.equals(rest, Arrays.copyOfRange(whole, 1000, whole.length))) throw new IOException("not the same");
                }
            }
            default -> throw new IllegalArgumentException(operation);
        }
        return "";
    }

    /** A path in which JSch finds no pattern. */
    private static String plain(String path) {
        return path.replaceAll("([\\\\*?])", "\\\\$1");
    }

    private void putTree(File local, String remote) throws Exception {
        sftp.mkdir(plain(remote));
        for (File here : local.listFiles()) {
            String there = remote + "/" + here.getName();
            if (here.isDirectory()) putTree(here, there);
            else sftp.put(here.getPath(), plain(there));
        }
    }

    private void getTree(String remote, File local) throws Exception {
        local.mkdir();
        for (ChannelSftp.LsEntry entry : sftp.ls(plain(remote))) {
            String name = entry.getFilename();
            if (name.equals(".") || name.equals("..")) continue;
            File here = new File(local, name);
            if (entry.getAttrs().isDir()) getTree(remote + "/" + name, here);
            else sftp.get(plain(remote + "/" + name), here.getPath());
        }
    }
}
