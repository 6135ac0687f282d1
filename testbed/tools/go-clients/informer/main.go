// A controller's view of a server: shared informers, typed and dynamic, and a leader elected by a
// lease, all of client-go.
//
// It writes objects and says what its informers have made of them; then it waits for a line on
// its standard input, before which the server is killed and started again, and shows that the
// informers have gone on without being told of anything twice.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

const (
	namespace = "informers"
	objects   = 200
	patience  = 60 * time.Second
)

var clusters = schema.GroupVersionResource{
	Group: "management.cattle.io", Version: "v3", Resource: "clusters",
}

// seen counts what an informer tells, and finds what it must not tell.
type seen struct {
	mutex                   sync.Mutex
	versions                map[string]string
	added, updated, deleted int
	wrong                   []string
}

func (s *seen) follow(informer cache.SharedIndexInformer) error {
	s.versions = map[string]string{}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { s.note(object, &s.added, false, false) },
		UpdateFunc: func(old, object any) {
			if old.(metav1.Object).GetResourceVersion() != object.(metav1.Object).GetResourceVersion() {
				s.note(object, &s.updated, true, false)
			}
		},
		DeleteFunc: func(object any) {
			if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = tombstone.Obj
			}
			s.note(object, &s.deleted, true, true)
		},
	})
	return err
}

func (s *seen) note(object any, count *int, known, gone bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	meta := object.(metav1.Object)
	key := meta.GetNamespace() + "/" + meta.GetName()
	if _, was := s.versions[key]; was != known {
		s.wrong = append(s.wrong, fmt.Sprintf("%s: known before: %t", key, was))
	}
	*count++
	if gone {
		delete(s.versions, key)
	} else {
		s.versions[key] = meta.GetResourceVersion()
	}
}

// settles waits until the informer holds exactly what a list says.
func (s *seen) settles(ctx context.Context, what string, list func() (map[string]string, error)) error {
	var problem string
	for ctx.Err() == nil {
		wanted, err := list()
		if err != nil {
			problem = err.Error()
		} else if problem = s.differs(wanted); problem == "" {
			s.mutex.Lock()
			defer s.mutex.Unlock()
			fmt.Printf("%s: %d held, %d added, %d updated, %d deleted\n",
				what, len(s.versions), s.added, s.updated, s.deleted)
			if len(s.wrong) > 0 {
				return fmt.Errorf("%s: %v", what, s.wrong)
			}
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%s never settled: %s", what, problem)
}

func (s *seen) differs(wanted map[string]string) string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if len(wanted) != len(s.versions) {
		return fmt.Sprintf("%d objects, and %d are held", len(wanted), len(s.versions))
	}
	for key, version := range wanted {
		if s.versions[key] != version {
			return fmt.Sprintf("%s is held at %q, and is at %q", key, s.versions[key], version)
		}
	}
	return ""
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "the server")
	content := flag.String("content-type", "application/json", "how typed objects travel")
	flag.Parse()
	if err := run(*kubeconfig, *content); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kubeconfig, content string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 500, 1000
	untyped, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	typed := rest.CopyConfig(config)
	typed.ContentType = content
	client, err := kubernetes.NewForConfig(typed)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	_, err = client.CoreV1().Namespaces().Create(ctx, made, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}

	var configMaps, ofClusters seen
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	if err := configMaps.follow(factory.Core().V1().ConfigMaps().Informer()); err != nil {
		return err
	}
	dynamics := dynamicinformer.NewDynamicSharedInformerFactory(untyped, 0)
	if err := ofClusters.follow(dynamics.ForResource(clusters).Informer()); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	dynamics.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("the informer of %v did not sync", kind)
		}
	}
	dynamics.WaitForCacheSync(ctx.Done())

	settle := func(name string) error {
		limited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		err := configMaps.settles(limited, name+", config maps", func() (map[string]string, error) {
			list, err := client.CoreV1().ConfigMaps(namespace).List(limited, metav1.ListOptions{})
			held := map[string]string{}
			if err == nil {
				for _, item := range list.Items {
					held[item.Namespace+"/"+item.Name] = item.ResourceVersion
				}
			}
			return held, err
		})
		if err != nil {
			return err
		}
		return ofClusters.settles(limited, name+", clusters", func() (map[string]string, error) {
			list, err := untyped.Resource(clusters).List(limited, metav1.ListOptions{})
			held := map[string]string{}
			if err == nil {
				for _, item := range list.Items {
					held["/"+item.GetName()] = item.GetResourceVersion()
				}
			}
			return held, err
		})
	}
	if err := write(ctx, client, untyped, "first"); err != nil {
		return err
	}
	if err := settle("after writes"); err != nil {
		return err
	}
	if err := elect(ctx, client); err != nil {
		return err
	}
	fmt.Println("restart the server")
	if !bufio.NewScanner(os.Stdin).Scan() {
		return errors.New("nobody restarted the server")
	}
	if err := write(ctx, client, untyped, "second"); err != nil {
		return err
	}
	return settle("after the restart")
}

// write makes objects, changes each, and deletes every second one.
func write(ctx context.Context, client kubernetes.Interface, untyped dynamic.Interface, prefix string) error {
	maps := client.CoreV1().ConfigMaps(namespace)
	for number := range objects {
		name := fmt.Sprintf("%s-%d", prefix, number)
		object := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Data:       map[string]string{"number": fmt.Sprint(number)},
		}
		object, err := maps.Create(ctx, object, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		object.Data["changed"] = "yes"
		if _, err := maps.Update(ctx, object, metav1.UpdateOptions{}); err != nil {
			return err
		}
		if number%2 == 0 {
			if err := maps.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
				return err
			}
		}
	}
	cluster := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "management.cattle.io/v3", "kind": "Cluster",
		"metadata": map[string]any{"name": "informed-" + prefix},
		"spec":     map[string]any{"displayName": "informed " + prefix},
	}}
	_, err := untyped.Resource(clusters).Create(ctx, cluster, metav1.CreateOptions{})
	return err
}

// elect lets one candidate lead, then another, each for a moment.
func elect(ctx context.Context, client kubernetes.Interface) error {
	for _, candidate := range []string{"one", "two"} {
		limited, cancel := context.WithTimeout(ctx, patience)
		led := false
		leaderelection.RunOrDie(limited, leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta:  metav1.ObjectMeta{Name: "leader", Namespace: namespace},
				Client:     client.CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: candidate},
			},
			ReleaseOnCancel: true,
			LeaseDuration:   3 * time.Second,
			RenewDeadline:   2 * time.Second,
			RetryPeriod:     200 * time.Millisecond,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(leading context.Context) {
					led = true
					// Long enough for a renewal.
					select {
					case <-leading.Done():
					case <-time.After(time.Second):
					}
					cancel()
				},
				OnStoppedLeading: func() {},
			},
		})
		cancel()
		lease, err := client.CoordinationV1().Leases(namespace).Get(ctx, "leader", metav1.GetOptions{})
		if err != nil {
			return err
		}
		fmt.Printf("candidate %s led: %t, transitions %d\n", candidate, led, *lease.Spec.LeaseTransitions)
		if !led {
			return fmt.Errorf("%s was never elected", candidate)
		}
	}
	return nil
}
