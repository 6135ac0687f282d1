// Command tunnel is both ends of a tunnel over Rancher's remotedialer, as the benchmark needs them: a server that
// takes agents over wss and carries connections of visitors through them, and agents that dial it.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"
	"github.com/rancher/remotedialer"
	"github.com/sirupsen/logrus"
)

func main() {
	// A line for each connection is not part of what is measured.
	logrus.SetLevel(logrus.ErrorLevel)
	certificate := flag.String("cert", "", "server: certificate file")
	key := flag.String("key", "", "server: key file")
	target := flag.String("target", "", "server: host:port that agents dial for each visitor")
	url := flag.String("url", "", "agents: wss address of the server; without it this is the server")
	ca := flag.String("ca", "", "agents: file of certificates to trust")
	count := flag.Int("agents", 1, "agents: how many, each with a connection of its own; server: how many visitors go round")
	flag.Parse()
	var err error
	if *url == "" {
		err = serve(*certificate, *key, *target, *count)
	} else {
		err = dial(*url, *ca, *count)
	}
	log.Fatal(err)
}

func name(agent int) string {
	return fmt.Sprintf("agent-%d", agent)
}

func serve(certificate, key, target string, agents int) error {
	authorize := func(request *http.Request) (string, bool, error) {
		id := request.Header.Get("X-Tunnel-Id")
		return id, id != "", nil
	}
	tunnel := remotedialer.New(authorize, remotedialer.DefaultErrorWriter)
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	visitors, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("{\"tunnel\":%d,\"visitors\":%d}\n", port(outside), port(visitors))
	go func() { log.Fatal(accept(tunnel, visitors, target, agents)) }()
	return http.ServeTLS(outside, tunnel, certificate, key)
}

func port(listener net.Listener) int {
	return listener.Addr().(*net.TCPAddr).Port
}

// accept carries each visitor through the next agent.
func accept(tunnel *remotedialer.Server, visitors net.Listener, target string, agents int) error {
	var next atomic.Int64
	for {
		visitor, err := visitors.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer visitor.Close()
			agent := name(int(next.Add(1)-1) % agents)
			stream, err := tunnel.Dialer(agent)(context.Background(), "tcp", target)
			if err != nil {
				return
			}
			defer stream.Close()
			splice(visitor, stream)
		}()
	}
}

func splice(visitor, stream net.Conn) {
	var both sync.WaitGroup
	both.Go(func() {
		io.Copy(stream, visitor)
		stream.Close()
	})
	both.Go(func() {
		io.Copy(visitor, stream)
		visitor.Close()
	})
	both.Wait()
}

func dial(url, ca string, count int) error {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("no certificate in %s", ca)
	}
	dialer := &websocket.Dialer{
		HandshakeTimeout: remotedialer.HandshakeTimeOut,
		TLSClientConfig:  &tls.Config{RootCAs: roots},
	}
	anything := func(string, string) bool { return true }
	for agent := 1; agent < count; agent++ {
		go connect(url, name(agent), dialer, anything)
	}
	fmt.Println("{}")
	connect(url, name(0), dialer, anything)
	return nil
}

func connect(url, name string, dialer *websocket.Dialer, anything remotedialer.ConnectAuthorizer) {
	headers := http.Header{"X-Tunnel-Id": {name}}
	for {
		remotedialer.ClientConnect(context.Background(), url, headers, dialer, anything, nil)
	}
}
