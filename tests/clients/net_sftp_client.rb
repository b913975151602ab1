# Operations with Ruby's net-sftp, one a line of the input: PORT USER KEY. tests/clients/scripted.rs says how they are answered.

require "net/sftp"

$stdout.sync = true
[$stdin, $stdout].each { |stream| stream.set_encoding("UTF-8") }
port, user, key = ARGV

def remove_tree(sftp, folder)
  sftp.dir.entries(folder).each do |entry|
    next if [".", ".."].include?(entry.name)
    path = "#{folder}/#{entry.name}"
    entry.directory? ? remove_tree(sftp, path) : sftp.remove!(path)
  end
  sftp.rmdir!(folder)
end

# Written like a file of Ruby's own, a line at a time, and read back so.
def write_lines(sftp, path)
  sftp.file.open(path, "w") { |file| 1000.times { |n| file.puts("line #{n}") } }
  lines = sftp.file.open(path, "r") do |file|
    found = []
    while (line = file.gets)
      found << line
    end
    found
  end
  raise "#{lines.length} lines" unless lines == (0...1000).map { |n| "line #{n}\n" }
end

operations = {
  "put" => ->(sftp, local, remote) { sftp.upload!(local, remote) },
  "get" => ->(sftp, remote, local) { sftp.download!(remote, local) },
  # By itself it would put the tree into a folder of its own name.
  "put_tree" => ->(sftp, local, remote) { sftp.upload!(local, remote, mkdir: true) },
  "get_tree" => ->(sftp, remote, local) { sftp.download!(remote, local, recursive: true) },
  "put_timed" => lambda do |sftp, local, remote|
    sftp.upload!(local, remote)
    time = File.mtime(local).to_i
    sftp.setstat!(remote, atime: time, mtime: time)
  end,
  "get_timed" => lambda do |sftp, remote, local|
    sftp.download!(remote, local)
    time = sftp.stat!(remote).mtime
    File.utime(time, time, local)
  end,
  "list" => ->(sftp, folder) { sftp.dir.entries(folder).map(&:name).join("\n") },
  "stat" => ->(sftp, path) { (found = sftp.stat!(path)) && "#{found.size} #{found.mtime}" },
  "rename" => ->(sftp, from, to) { sftp.rename!(from, to) },
  "remove" => ->(sftp, path) { sftp.remove!(path) },
  "mkdir" => ->(sftp, folder) { sftp.mkdir!(folder) },
  "rmdir" => ->(sftp, folder) { sftp.rmdir!(folder) },
  "remove_tree" => method(:remove_tree),
  "write_lines" => method(:write_lines),
}

options = { port: port.to_i, keys: [key], keys_only: true, config: false, use_agent: false, verify_host_key: :never, timeout: 600 }
Net::SFTP.start("127.0.0.1", user, options) do |sftp|
  while (line = $stdin.gets)
    operation, *arguments = line.chomp.split("\t")
    begin
      given = operations.fetch(operation).call(sftp, *arguments)
      given.dup.force_encoding("UTF-8").lines(chomp: true).each { |text| puts " #{text}" } if given.is_a?(String)
      puts "ok"
    rescue StandardError => error
      puts "error\t#{error.class}\t#{error.message.split.join(' ')}"
    end
  end
end
