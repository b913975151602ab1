// A jump with JSch, through a forwarded port as its users do it: PORT KEY KNOWN_HOSTS LOCAL REMOTE. The target's key stands there under
// its own name.

import com.jcraft.jsch.ChannelSftp;
import com.jcraft.jsch.JSch;
import com.jcraft.jsch.Session;

public class JschJump {
    public static void main(String[] args) throws Exception {
        JSch jsch = new JSch();
        jsch.addIdentity(args[1]);
        jsch.setKnownHosts(args[2]);
        Session outer = jsch.getSession("alice", "127.0.0.1", Integer.parseInt(args[0]));
        outer.connect(600_000);
        int port = outer.setPortForwardingL(0, "192.168.1.10", 22);
        Session inner = jsch.getSession("deploy", "127.0.0.1", port);
        inner.setHostKeyAlias("192.168.1.10");
        inner.connect(600_000);
        ChannelSftp sftp = (ChannelSftp) inner.openChannel("sftp");
        sftp.connect(600_000);
        sftp.put(args[3], args[4]);
        sftp.disconnect();
        inner.disconnect();
        outer.disconnect();
    }
}
