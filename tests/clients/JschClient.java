// One operation with JSch: PORT USER KEY KNOWN_HOSTS OPERATION ARGUMENTS...

import com.jcraft.jsch.ChannelSftp;
import com.jcraft.jsch.JSch;
import com.jcraft.jsch.Session;
import java.io.File;

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
        session.connect(20000);
        ChannelSftp channel = (ChannelSftp) session.openChannel("sftp");
        channel.connect(20000);
        try {
            new JschClient(channel).run(args[4], args[5], args.length > 6 ? args[6] : null);
        } finally {
            session.disconnect();
        }
    }

    private void run(String operation, String first, String second) throws Exception {
        switch (operation) {
            case "put" -> sftp.put(first, plain(second), ChannelSftp.OVERWRITE);
            case "get" -> sftp.get(plain(first), second);
            case "reput" -> sftp.put(first, plain(second), ChannelSftp.RESUME);
            case "reget" -> sftp.get(plain(first), second, null, ChannelSftp.RESUME);
            case "put_tree" -> putTree(new File(first), second);
            case "get_tree" -> getTree(first, new File(second));
            case "list" -> {
                for (ChannelSftp.LsEntry entry : sftp.ls(plain(first))) System.out.println(entry.getFilename());
            }
            case "rename" -> sftp.rename(plain(first), plain(second));
            case "remove" -> sftp.rm(plain(first));
            case "mkdir" -> sftp.mkdir(plain(first));
            default -> throw new IllegalArgumentException(operation);
        }
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
