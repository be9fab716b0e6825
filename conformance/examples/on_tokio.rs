//! A program on tokio's runtime: tasks, timers, files, processes, signals, unix and TCP sockets.

use std::error::Error;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("tasks {}", tasks().await);
    tokio::fs::write("tokio-file", "written").await?;
    println!("file {}", tokio::fs::read_to_string("tokio-file").await?);
    let output = Command::new("sh").args(["-c", "echo child; exit 3"]).output().await?;
    println!("process {:?} {:?}", String::from_utf8_lossy(&output.stdout), output.status.code());
    let mut hang_up = signal(SignalKind::hangup())?;
    let pid = std::process::id().to_string();
    Command::new("kill").args(["-HUP", &pid]).status().await?;
    println!("signal {:?}", hang_up.recv().await);
    let timeout = tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>());
    println!("timeout {}", timeout.await.is_err());
    unix().await?;
    tcp().await
}

async fn tasks() -> u64 {
    let (sender, mut receiver) = mpsc::channel(16);
    for number in 0..100_u64 {
        let sender = sender.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(number % 7)).await;
            sender.send(number).await
        });
    }
    drop(sender);
    let mut sum = 0;
    while let Some(number) = receiver.recv().await {
        sum += number;
    }
    sum
}

async fn unix() -> Result<(), Box<dyn Error>> {
    let listener = UnixListener::bind("tokio-socket")?;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        stream.write_all(text.to_uppercase().as_bytes()).await
    });
    let mut client = UnixStream::connect("tokio-socket").await?;
    client.write_all(b"unix").await?;
    client.shutdown().await?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await?;
    server.await??;
    println!("unix {answer}");
    Ok(())
}

async fn tcp() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        tokio::io::copy(&mut tokio::io::repeat(7).take(1 << 20), &mut stream).await
    });
    let mut client = TcpStream::connect(address).await?;
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await?;
    println!("tcp {} {}", bytes.len(), server.await??);
    Ok(())
}
