package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// pod is what discovery needs of one, as the API writes it.
type pod struct {
	Metadata struct {
		Namespace, Name, UID string
		Annotations          map[string]string
	}
	Spec   struct{ NodeName string }
	Status struct{ Phase, PodIP string }
}

// target is one entry of Prometheus' file_sd_configs.
type target struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// discover keeps a file of the pods that ask to be scraped, for a Prometheus that does not speak to
// Kubernetes itself (Debian builds it without). It lists, then watches until the connection ends,
// and begins anew; while the API is away, the last known pods stay.
func discover(file string) {
	client, err := apiClient(os.Getenv("CA"), os.Getenv("CERT"), os.Getenv("KEY"))
	if err != nil {
		log.Fatal(err)
	}
	for {
		if err := follow(client, os.Getenv("API"), file); err != nil {
			log.Print(err)
		}
		time.Sleep(time.Second)
	}
}

func apiClient(ca, cert, key string) (*http.Client, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}, nil
}

func follow(client *http.Client, api, file string) error {
	var listed struct {
		Metadata struct{ ResourceVersion string }
		Items    []pod
	}
	pods := map[string]pod{}
	if err := get(client, api+"/api/v1/pods", 10*time.Second, func(d *json.Decoder) error {
		return d.Decode(&listed)
	}); err != nil {
		return err
	}
	for _, p := range listed.Items {
		pods[p.Metadata.UID] = p
	}
	if err := tell(file, pods); err != nil {
		return err
	}
	url := api + "/api/v1/pods?watch=true&timeoutSeconds=300&resourceVersion=" + listed.Metadata.ResourceVersion
	return get(client, url, 310*time.Second, func(d *json.Decoder) error {
		for {
			var event struct {
				Type   string
				Object pod
			}
			if err := d.Decode(&event); err != nil {
				return err
			}
			switch event.Type {
			case "ADDED", "MODIFIED":
				pods[event.Object.Metadata.UID] = event.Object
			case "DELETED":
				delete(pods, event.Object.Metadata.UID)
			default: // ERROR: the version is too old; list again
				return fmt.Errorf("the watch ended with %s", event.Type)
			}
			if err := tell(file, pods); err != nil {
				return err
			}
		}
	})
}

func get(client *http.Client, url string, within time.Duration, read func(*json.Decoder) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	return read(json.NewDecoder(answer.Body))
}

// tell replaces the file when there is something new, in one step.
func tell(file string, pods map[string]pod) error {
	targets := []target{}
	for _, p := range pods {
		wanted := p.Metadata.Annotations["prometheus.io/scrape"] == "true"
		if !wanted || p.Status.Phase != "Running" || p.Status.PodIP == "" {
			continue
		}
		targets = append(targets, target{
			Targets: []string{p.Status.PodIP + ":" + p.Metadata.Annotations["prometheus.io/port"]},
			Labels: map[string]string{
				"namespace": p.Metadata.Namespace, "pod": p.Metadata.Name, "node": p.Spec.NodeName,
			},
		})
	}
	slices.SortFunc(targets, func(a, b target) int { return strings.Compare(a.Targets[0], b.Targets[0]) })
	text, err := json.MarshalIndent(targets, "", " ")
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(file); err == nil && string(old) == string(text) {
		return nil
	}
	if err := os.WriteFile(file+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
