// Send customers, and later whether they left, as any Go producer would: franz-go and JSON.
//
//	go run . 127.0.0.1:9092
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"math/rand"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Event is what a prediction may use. A nil pointer is null, which is missing.
type Event struct {
	ID     string    `json:"event_id"`
	At     time.Time `json:"at"` // when it happened, not when it was sent
	Age    *int      `json:"age"`
	Visits int       `json:"visits"`
	Plan   string    `json:"plan"`
}

// Label is what became of an event; they meet by the id.
type Label struct {
	ID      string    `json:"event_id"`
	At      time.Time `json:"at"` // when it became known
	Churned bool      `json:"churned"`
}

func main() {
	if len(os.Args) != 2 && len(os.Args) != 4 {
		log.Fatal("usage: producer HOST:PORT [EVENTS LABELS]")
	}
	events, labels := "crm.events", "crm.outcomes"
	if len(os.Args) == 4 {
		events, labels = os.Args[2], os.Args[3]
	}
	// Idempotent and acks=all unless told otherwise; a key goes where murmur2 says, as in Java.
	client, err := kgo.NewClient(
		kgo.SeedBrokers(os.Args[1]),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.RecordDeliveryTimeout(30*time.Second),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	const count = 100
	plans := []string{"free", "plus", "pro"}
	var records []*kgo.Record
	ids := make([]string, count)
	for number := range ids {
		ids[number] = fmt.Sprintf("go-%d-%d", time.Now().UnixMilli(), number)
		event := Event{ID: ids[number], At: time.Now().UTC(), Visits: rand.Intn(40), Plan: plans[rand.Intn(len(plans))]}
		if rand.Intn(2) == 0 {
			age := 18 + rand.Intn(72)
			event.Age = &age
		}
		records = append(records, record(events, event.ID, event))
	}
	send(client, records)

	// In life this is another program, weeks later.
	records = nil
	for _, id := range ids {
		label := Label{ID: id, At: time.Now().UTC(), Churned: rand.Intn(5) == 0}
		records = append(records, record(labels, id, label))
	}
	send(client, records)
	fmt.Printf("%d events and %d labels sent\n", count, count)
}

// record keys a value by its id: one id, one partition, so that its records stay in order.
func record(topic, id string, value any) *kgo.Record {
	body, err := json.Marshal(value)
	if err != nil {
		log.Fatal(err)
	}
	return &kgo.Record{Topic: topic, Key: []byte(id), Value: body}
}

// send waits until all are delivered; Produce with a callback does not wait.
func send(client *kgo.Client, records []*kgo.Record) {
	if err := client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		log.Fatalf("not all records were delivered: %v", err)
	}
}
