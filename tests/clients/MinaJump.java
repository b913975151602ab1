// A jump with Apache MINA SSHD, by what it makes of ProxyJump: PORT KEY TARGETS_HOST_KEY LOCAL REMOTE. The target's key is judged, the
// gateway's is not.

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import org.apache.sshd.client.SshClient;
import org.apache.sshd.client.config.hosts.HostConfigEntry;
import org.apache.sshd.client.session.ClientSession;
import org.apache.sshd.common.config.keys.PublicKeyEntry;
import org.apache.sshd.common.keyprovider.FileKeyPairProvider;
import org.apache.sshd.sftp.client.SftpClient;
import org.apache.sshd.sftp.client.SftpClientFactory;

public class MinaJump {
    public static void main(String[] args) throws Exception {
        Duration limit = Duration.ofMinutes(10);
        SshClient client = SshClient.setUpDefaultClient();
        client.setKeyIdentityProvider(new FileKeyPairProvider(Path.of(args[1])));
        client.setServerKeyVerifier((session, address, key) -> {
            boolean isTarget = session.getUsername().equals("deploy");
            boolean isRight = !isTarget || PublicKeyEntry.toString(key).contains(args[2]);
            if (!isRight) System.err.println("another host key at the target");
            return isRight;
        });
        // Two hosts of its configuration file.
        HostConfigEntry bastion = new HostConfigEntry("bastion", "127.0.0.1", Integer.parseInt(args[0]), "alice");
        HostConfigEntry target = new HostConfigEntry("target", "192.168.1.11", 22, "deploy", "bastion");
        client.setHostConfigEntryResolver((host, port, local, user, jump, context) -> host.equals("bastion") ? bastion : target);
        client.start();
        boolean isDone = false;
        try (ClientSession session = client.connect(target).verify(limit).getSession()) {
            session.auth().verify(limit);
            try (SftpClient sftp = SftpClientFactory.instance().createSftpClient(session); var out = sftp.write(args[4])) {
                Files.copy(Path.of(args[3]), out);
            }
            isDone = true;
        } finally {
            client.stop();
            if (!isDone) System.err.println("not done");
        }
    }
}
